"""From the broker into the store: reports are read, decoded, stored in batches, and acknowledged after the commit."""
