"""The networks of the training problems."""
