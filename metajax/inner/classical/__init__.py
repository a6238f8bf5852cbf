"""Classical learners: index rules and planners over counts."""
