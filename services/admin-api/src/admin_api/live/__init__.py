"""What happens now, as server-sent events: `topics` says what it is made of, `positions` how a listener's place in it
is written down, `ring` holds the last of it, `feed` reads it from Kafka, `listening` hands it to one listener.
"""
