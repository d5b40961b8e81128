"""Would a job run here? Facts are gathered (`gather`, `probe`), then judged by pure functions (`checks`)."""
