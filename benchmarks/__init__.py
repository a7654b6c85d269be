"""Side-by-side measurements; each module prints the tables that the README quotes."""
