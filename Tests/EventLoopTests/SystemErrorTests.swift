/// Tests of an error made of an errno and its call, as text and as a value.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct SystemErrorTests {
    @Test("an error's description contains its call, message and name")
    func saysWhatHappened() {
        let error = SystemError(EADDRINUSE, "bind")
        #expect(error.name == "EADDRINUSE")
        #expect(error.message == "address already in use")
        #expect("\(error)" == "bind: address already in use (EADDRINUSE)")
    }

    @Test("an unknown error number is used as the name")
    func namesWhatHasNoName() {
        #expect(SystemError(4095, "call").name == "errno 4095")
    }

    @Test("errors with the same number are equal regardless of the call")
    func theCallDoesNotCount() {
        #expect(SystemError(EPIPE, "send") == SystemError(EPIPE, "write"))
        #expect(Set([SystemError(EPIPE, "send"), SystemError(EPIPE, "write")]).count == 1)
        #expect(SystemError(EPIPE, "send") != SystemError(EBADF, "send"))
    }
}
