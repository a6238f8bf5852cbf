"""Small Markov decision processes."""
