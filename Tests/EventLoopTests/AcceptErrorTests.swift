/// Tests of a listener's reaction to an errno of accept(2).
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct AcceptErrorTests {
    @Test("EAGAIN reports an empty backlog and no error")
    func anEmptyBacklogIsNoError() {
        guard case .nobodyWaits = AcceptError(EAGAIN) else {
            Issue.record("\(AcceptError(EAGAIN))")
            return
        }
    }

    /// The errors of "Error handling" in accept(2), and those that interrupt or undo one
    /// connection.
    @Test(
        "an error of a single connection is a passing error of accept",
        arguments: [
            EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
            EOPNOTSUPP, ENETUNREACH,
        ])
    func errorsOfOneConnectionPass(number: Int32) {
        guard case .passing = AcceptError(number) else {
            Issue.record("\(number): \(AcceptError(number))")
            return
        }
    }

    @Test(
        "any other error of accept is lasting and keeps its number",
        arguments: [
            EMFILE, ENFILE, ENOBUFS, ENOMEM, EBADF, EINVAL, ENOTSOCK, EFAULT, 0, 4095, -1,
        ])
    func othersLast(number: Int32) {
        guard case .lasting(let error) = AcceptError(number) else {
            Issue.record("\(number): \(AcceptError(number))")
            return
        }
        #expect(error.number == number)
        #expect("\(error.call)" == "accept")
    }
}
