/// The error of a test's own step, such as a refused connect.
public struct TestFailure: Error, Sendable, CustomStringConvertible {
    /// The cause, in words.
    public let description: String

    /// Creates an error with this text.
    public init(_ description: String) { self.description = description }
}
