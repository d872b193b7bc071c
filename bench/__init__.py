"""Side by side with Debian's docker, runc and crun: every row interleaved with its peer in the same run.

``python -m bench [ROW...]`` prints one table and writes ``bench/results/latest.json``. It runs in a private network and
mount namespace (``make bench`` sees to that). Absolute figures belong to the run's machine; ratios are the claim.
"""
