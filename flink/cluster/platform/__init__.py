"""What a platform has before an application is deployed: operator, definitions, storage, a broker."""
