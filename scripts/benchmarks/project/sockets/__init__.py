"""An app that answers WebSockets."""
