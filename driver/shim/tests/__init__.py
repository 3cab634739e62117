"""The shim's tests: ours against a fake sidecar on a real socket, Cinder's own in upstream.py."""
