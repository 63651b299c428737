import Testing

/// What a driver owes the loop above it, each sentence a test, each test over every driver.
///
/// Serialized: rows that measure time would disturb each other.
@Suite(.serialized) struct DriverContract {}
