"""A page in the browser that shows what is served. It reads topics only, so it runs anywhere."""
