"""Natural gradient descent: Newton's method with damping, for a metric that may differ from the Hessian.

The loss is J(θ), the negative log-likelihood of weighted rows plus a quadratic penalty with the diagonal Λ; g is its
gradient and F the true Fisher information, which for logistic regression is the Hessian of the negative log-likelihood.
The metric M is F or another matrix that the user names. A step is v, its image F v. The gap of a point is the relative
difference of its loss from the minimum, (J − J*) / J. Sums over rows are in nats; divided by the sum of the weights,
they are in nats per unit of weight. The loop (`descent`) sees no rows: only an objective passes over them.

In the order in which things happen:

1. `plan` chooses by `cost_model` how M is computed: as a matrix at every point, or only by its products; whether steps
   that need loss and gradient alone come first or suffice; and whether to start from subsamples of the rows.
   `make_objective` binds rows, prior and plan into one of five objectives, which answer what the loop asks
   (`DescentProblem`).
2. `warm_up` solves growing subsamples by the same loop, each started from the optimum of the one before, and
   `starting_point` measures J, g and M where the descent starts.
3. `descend` repeats `advance` until a step ends with an outcome other than running. Each iteration

   a. proposes a step. The direction solves (M + Λ + δ diag(s)) v = −g, with Levenberg-Marquardt damping δ relative to
      the diagonal s of the metric (`damping`). If M is a matrix, by Cholesky; else by preconditioned conjugate
      gradients, as exactly as the distance to the optimum makes worthwhile (`newton_cg`). The length minimises the
      damped quadratic model with F: for M = F it is 1, up to the error of the solve. The step of another metric is
      combined with the previous accepted step, as momentum, and the model is minimised over both (`step`).
      For two classes and many rows M approximates F: the Fisher information of a sample, updated by the gradients along
      the steps, whose length is 1 (`quasi_newton`); or its diagonal, updated likewise, whose steps are minima of the
      loss itself over planes (`plane_search`). Where this is slow, an objective whose M is F takes over.
   b. tests convergence, once the decrease that the model predicts along the step is small: the Newton decrement
      ½ gᵀ(F+Λ)⁻¹g, the decrease predicted over all directions, must be at most `tol` times the loss (`convergence`). An
      M that approximates F estimates it, by the rate at which decreases fall too.
      Then the undamped Newton step itself is taken as the final step, and with a factorised matrix corrected by
      further steps of the same factor, until the error is negligible (`corrections`). As these take loss and gradient
      alone, a final step in memory may begin where the decrement is larger, if it moves no row far and the decrement is
      within `tol` after the step.
   c. else tries the step, and measures its end. A step of M = F is first lengthened by a factor that extrapolates from
      the step before, or for two classes from zero by one that follows from the step itself (`step`). It is accepted if
      the loss falls by a small share of the prediction (`stopping`); then damping is reduced if the actual decrease is
      near the predicted one, and raised if it is much smaller. If it is rejected, damping is raised until it about
      halves the step, and the next iteration starts from the same point.

   A fixed learning rate multiplies the direction by that number, accepts every finite step, takes an ordinary step as
   the final one, and does not change the damping.
4. The last state that `descend` yields has the coefficients, and its step says why the descent ended.

`recursive` runs the same loop on one batch of a stream, with a quadratic approximation to all batches before it.

Comments at constants say what halving or doubling them changes. "7 and 8 iterations for 6" means 7 with half the
constant and 8 with twice the constant, where the constant as it is takes 6. Counted are iterations, or products F v, of
`fisher='true'` on raw breast cancer (C = 1, 1e10), digits and wine (C = 1, 100; C = 1 where none is named), tables of
20,000 x 50 and 5,000 x 300 and 12 correlated classes, and of other metrics on the first three.
"""
