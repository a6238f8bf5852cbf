"""Experience: rollouts of a learner in a task, and replay buffers."""
