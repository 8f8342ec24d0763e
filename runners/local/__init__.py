"""Services on this machine: Prism, a Kafka broker, and the processes that run them."""
