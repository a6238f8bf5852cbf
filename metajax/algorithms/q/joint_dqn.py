"""DQN trained on all tasks at once: pretraining without meta-learning."""

from __future__ import annotations

import dataclasses

from metajax.algorithms.q.joint_training import JointlyTrained


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointDQN(JointlyTrained):
    """Joint DQN: one DQN pretrained on all tasks and fine-tuned in each, without meta-learning.

    Every episode of training is in a task of its own, in ``num_tasks`` streams, and the
    replay buffer mixes them. A trial starts an ordinary DQN lifetime from the result, as
    ``dqn`` and ``reptile-dqn`` do: fine-tuning. An adaptation of training takes ``updates``
    gradient steps, as one of a trial does.

    Source: the "pretrained" baseline of Finn et al. (2017), section 5.3, with a DQN.
    """

    def outer_rule(self, problem, layout):
        from metajax import outer
        from metajax.tasks.mixtures import mixture

        training, tasks = self.training(self.num_steps), mixture(problem.family)
        learner = training.learner(tasks, self.training_replay(training, tasks))
        return outer.joint(training.problem(tasks, learner))
