"""Pacing of requests: concurrency, rate limits, outages, time-outs."""
