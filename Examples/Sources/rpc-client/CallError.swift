/// The reason why a call has no answer.
enum CallError: Error, Equatable {
    /// The connection ended behind the call. The server may have executed it or not.
    case lost
    /// No answer came in time. The server may have executed the call or not.
    case timedOut
    /// `Calls.most` calls are unanswered.
    case busy
    /// The body is longer than `Frame.bodyLimit`.
    case tooLong
    /// The client was closed.
    case closed
    /// The server's reason.
    case refused(String)
}
