"""What a laptop needs: Prism, a Kafka broker, and the processes that run them."""
