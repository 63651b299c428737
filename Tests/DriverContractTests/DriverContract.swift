import Testing

/// The contract between a driver and the loop above it: one test for each clause, run on every
/// driver.
///
/// Serialized: tests that measure time would disturb each other.
@Suite(.serialized) struct DriverContract {}
