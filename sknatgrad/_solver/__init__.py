"""Natural gradient descent: Newton's method with damping, for a metric that may differ from the Hessian. Sees no data.

The loss is J(θ), the negative log-likelihood of weighted rows plus a quadratic penalty with the diagonal Λ; g is its
gradient and F the true Fisher information, which for logistic regression is the Hessian of the likelihood's part. The
metric M is F or another matrix that the user names. In the order in which things happen:

1. `plan` chooses by `cost_model` how M is computed: as a matrix at every point, or only by its products; and whether to
   start from subsamples of the rows. `make_objective` binds rows, prior and plan into one of three objectives, which
   answer what the loop asks (`DescentProblem`).
2. `warm_up` solves growing subsamples by the same loop, each started from the optimum of the one before, and
   `starting_point` measures J, g and M where the descent starts.
3. `descend` repeats `advance` until a step ends with an outcome other than running. Each iteration

   a. proposes a step. The direction solves (M + Λ + δ diag(s)) v = −g, with Levenberg-Marquardt damping δ relative to
      the diagonal s of the metric (`damping`). If M is a matrix, by Cholesky; else by preconditioned conjugate
      gradients, as exactly as the distance to the optimum makes worthwhile (`newton_cg`). If M is F, the step has
      Newton's length; the step of another metric gets the length that minimises the quadratic model with F, over the
      span of it and the last step (`step`).
   b. tests convergence, once the decrease that the model predicts along the step is small: the Newton decrement
      ½ gᵀ(F+Λ)⁻¹g, the decrease predicted over all directions, must be at most `tol` times the loss (`convergence`).
      Then the Newton step itself is taken as the final step, and with a factorised matrix followed by a correction.
   c. else tries the step, lengthened by a factor that the last one has shown (`step`), and measures its end. It is
      accepted if the loss falls by a small share of the prediction (`stopping`); then damping is reduced if the actual
      decrease is near the predicted one, and raised if it is much smaller. If it is rejected, damping is raised until
      it halves the step, and the next iteration starts from the same point.

   A fixed learning rate multiplies the direction by that number, accepts every finite step and leaves the damping.
4. The last state has the coefficients, and the last step says why the descent ended.

`recursive` runs the same loop on one batch of a stream, with a quadratic approximation to all batches before it.

Comments at constants say what halving or doubling them changes. This was counted in iterations, or in products F v, of
`fisher='true'` on raw breast cancer (C = 1, 1e10), digits and wine (C = 1, 100), tables of 20,000 x 50 and 5,000 x 300
and 12 correlated classes, and of other metrics on the first three.
"""
