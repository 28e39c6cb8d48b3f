"""A server that throws the bytes away: what is left of a measurement is the client's own cost.

It keeps keys, sizes, ETags and metadata, and the content of what lies below ``_manifests/``, so everything
that a client reads back is there: listings, heads, claims, the state of multipart uploads. It checks neither
signatures nor checksums. It speaks S3, and of Google's and Azure's protocols what a cleanup needs. Nothing
but the standard library is needed::

    python -m benchmarks.null_sink --port 9000 --latency-ms 30
"""
