"""Octets to values: BGP messages, path attributes by RFC 7606, runs of UPDATEs in numpy, MRT files.

Pure functions of octets and a `Session`; no clock, socket or log. What other rooms use:

    message, opening       framing, NOTIFICATION, OPEN, ROUTE-REFRESH, builders
    update                 split_update, decode_update: one message, the oracle
    bulk                   decode_run: whole runs, in columns, held equal to the oracle
    bulk_fields, fields    decode_fields, fields_of: what the decision needs of many blocks
    attributes             DESCRIPTORS, decode_attributes: one canonical block
    describe, communities  text forms for CLI, JSON, policy and configuration
    mrt                    read_mrt: records of BGP4MP and TABLE_DUMP_V2 files
"""
