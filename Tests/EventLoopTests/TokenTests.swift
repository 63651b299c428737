/// Tests of tokens in one word, the form that a kernel returns.
import Testing

@testable import MillraceEventLoop

@Suite struct TokenTests {
    @Test(
        "a token is unchanged by conversion to its word and back",
        arguments: [
            Token(slot: 0, generation: 0), Token(slot: Token.slotLimit - 1, generation: .max),
            Token(slot: .max, generation: 0), Token(slot: 0, generation: .max),
            Token(slot: 1, generation: 2),
        ])
    func survivesItsWord(_ token: Token) {
        #expect(Token(word: token.word) == token)
    }

    @Test("different tokens have different words")
    func wordsDiffer() {
        let words = (0..<20 as Range<UInt32>).flatMap { slot in
            (0..<20 as Range<UInt32>).map { Token(slot: slot, generation: $0).word }
        }
        #expect(Set(words).count == 400)
    }

    @Test("the word of the last token is not the waker's word")
    func noTokenIsTheWakersWord() {
        let last = Token(slot: Token.slotLimit - 1, generation: .max)
        #expect(last.word != EventWaker.word)
    }
}
