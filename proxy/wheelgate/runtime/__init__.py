"""Process-wide tools: single flight, cooperative slices, metrics, logs, durable writes."""
