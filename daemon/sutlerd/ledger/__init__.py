"""Money: prices, what a call costs, and what may still be spent."""
