//! What every process needs: settings, telemetry, signals, drain and the admin HTTP server.
