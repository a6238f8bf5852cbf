"""Classical learners: bandit index rules, and planners over counts."""
