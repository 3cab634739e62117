"""What Cinder's manager marked at a failover, put right in Cinder's database.

    settings   cinder.conf: which backend, which sidecar
    read       the rows, and the sidecar's word on each image     -> facts.World
    plan       what is to be changed, and what is left, and why   -> facts.Plan     no I/O
    carry_out  each change, if its row is still as it was read
    show       for a person, or as JSON
    command    rekindle-cinder-repair

Cinder's API shows no previous_status and resets no replication_status: that is why this works on the database.
"""
