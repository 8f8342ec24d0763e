"""What workers report about models, and what follows from their reports."""
