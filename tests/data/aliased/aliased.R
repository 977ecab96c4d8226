# Figures of R for census.csv, as one number a line: R 4.2.2, VGAM 1.1-7, sandwich 3.0-2.
# Fits are restarted from their coefficients, because vcov belongs to the last but one iterate of a fit.
options(digits = 17)
table <- read.csv("census.csv", stringsAsFactors = TRUE)
found <- NULL
put <- function(figure, values) {
  values <- as.matrix(values)
  found <<- rbind(found, data.frame(
    figure, row = c(row(values)) - 1, column = c(col(values)) - 1,
    value = sprintf("%.17g", c(values))
  ))
}

binary <- function(formula, counts = 1) {
  table$counts <- counts
  environment(formula) <- environment()
  # the default epsilon, because it also decides which columns are aliased: the tolerance of the rank is epsilon / 1000
  fit <- glm(formula, binomial, table, weights = counts)
  for (again in 1:4) {
    start <- coef(fit)
    start[is.na(start)] <- 0
    fit <- glm(formula, binomial, table, weights = counts, start = start)
  }
  fit
}
formula <- income ~ age + education_num + workclass + education + occupation
fit <- binary(formula)
put("coef", coef(fit))
put("vcov", vcov(fit, complete = FALSE))
put("HC0", sandwich::vcovHC(fit, type = "HC0"))
put("likelihood", c(logLik(fit), AIC(fit), BIC(fit), df.residual(fit)))
small <- binary(income ~ age + workclass + occupation)
put("LR", unlist(anova(small, fit, test = "LRT")[2, c("Deviance", "Df")]))
put("Rao", unlist(anova(small, fit, test = "Rao")[2, c("Rao", "Df")]))
# a row for each aliased column: its coefficients on the others, intercept first
put("alias", alias(fit)$Complete)
weighted <- binary(formula, table$weight)
put("weighted coef", coef(weighted))
put("weighted vcov", vcov(weighted, complete = FALSE))

X <- model.matrix(formula, table)
X <- X[, !is.na(coef(fit))]
multinomial <- function(...) {
  VGAM::vglm(factor(class3) ~ X - 1, VGAM::multinomial(refLevel = 1), table, epsilon = 1e-10, maxit = 100, ...)
}
several <- multinomial()
for (again in 1:3) several <- multinomial(coefstart = VGAM::coef(several))
# by class, then by column
order <- c(seq(1, 2 * ncol(X), 2), seq(2, 2 * ncol(X), 2))
put("multinomial coef", VGAM::coef(several)[order])
put("multinomial vcov", VGAM::vcov(several)[order, order])
put("multinomial likelihood", c(VGAM::logLik(several), VGAM::AIC(several), VGAM::df.residual(several)))

# the rule alone: columns that are constant, copies, sums, 0, or nearly copies; the intercept is first
i <- 1:40
x <- (i * 7919) %% 101
z <- (i * 104729) %% 97
noise <- ((i * 1299709) %% 89) / 89
columns <- cbind(1, 3, x, 2 * x + 1, z, x + z, x + 1e-10 * noise, 0, 1e8 * z, x + 1e-8 * noise, 1e-6 * x, z^2)
ranked <- qr(columns, tol = min(1e-7, glm.control()$epsilon / 1000))
put("independent columns", ranked$pivot[1:ranked$rank] - 1)
write.csv(found, "aliased_r.csv", row.names = FALSE, quote = FALSE)
