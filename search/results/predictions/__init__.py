"""What the models of curve-gp arms predicted, when, and how often their intervals held."""
