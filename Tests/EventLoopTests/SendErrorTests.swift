import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct SendErrorTests {
    @Test("a noted error is returned to one send and reported again at the end of the stream")
    func whatWasMetIsTheAnswerToOneSendAndTheEnd() {
        var error = SendError()
        #expect(error.isNone && error.take() == nil)
        guard case .endOfStream = error.endOfStream else {
            Issue.record("an end without an error is one")
            return
        }
        error.note(EPIPE)
        #expect(!error.isNone)
        #expect(error.take() == SystemError(EPIPE, "send"))
        #expect(error.take() == nil)
        #expect(ends(with: EPIPE, error))
    }

    @Test("an error already reported is not returned to a send, only at the end of the stream")
    func whatWasToldAtOnceIsNotToldAgainButAtTheEnd() {
        var error = SendError()
        error.noteTold(ECONNRESET)
        #expect(error.take() == nil && !error.isNone)
        #expect(ends(with: ECONNRESET, error))
        #expect(MemoryLayout<SendError>.size == 2)
    }

    private func ends(with number: Int32, _ error: SendError) -> Bool {
        guard case .failed(.receive, let told) = error.endOfStream else { return false }
        return told.number == number
    }
}
