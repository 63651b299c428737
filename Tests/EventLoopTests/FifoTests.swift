/// Tests of the hot path's queue against an array, which is slower but easy to verify.
import Testing

@testable import MillraceEventLoop

@Suite struct FifoTests {
    @Test("a fifo agrees with an array", arguments: Trial.seeds)
    func agreesWithAnArray(seed: UInt64) throws {
        var trial = Trial(seed)
        var fifo = Fifo<Int>(capacity: trial.random.below(40))
        var model: [Int] = []
        var appendPercent = 50
        for number in 0..<20_000 {
            // Phases of growth and decline, so that the ring wraps, grows and empties.
            if number % 200 == 0 { appendPercent = 20 + trial.random.below(61) }
            if trial.random.happens(appendPercent) {
                trial.begin("append \(number)")
                fifo.append(number)
                model.append(number)
            } else {
                trial.begin("popFirst")
                let expected = model.isEmpty ? nil : model.removeFirst()
                let popped = fifo.popFirst()
                try trial.check(popped == expected, "\(popped as Any), not \(expected as Any)")
            }
            let (count, isEmpty) = (fifo.count, fifo.isEmpty)
            try trial.check(count == model.count, "count \(count), not \(model.count)")
            try trial.check(isEmpty == model.isEmpty, "isEmpty \(isEmpty)")
        }
        for expected in model {
            trial.begin("the last popFirst")
            let popped = fifo.popFirst()
            try trial.check(popped == expected, "\(popped as Any), not \(expected)")
        }
        let left = fifo.popFirst()
        #expect(left == nil)
    }

    @Test("a fifo keeps its order when it grows while wrapped", arguments: 0..<8)
    func keepsOrderWhenItGrowsWrapped(offset: Int) {
        var fifo = Fifo<Int>(capacity: 8)
        for number in 0..<offset { fifo.append(-number) }
        for _ in 0..<offset { _ = fifo.popFirst() }
        for number in 0..<9 { fifo.append(number) }
        var popped: [Int] = []
        while let number = fifo.popFirst() { popped.append(number) }
        #expect(popped == Array(0..<9))
    }

    @Test(
        "a fifo rounds its capacity up to a power of two",
        arguments: [(0, 1), (1, 1), (2, 2), (3, 4), (16, 16), (17, 32), (1000, 1024)])
    func roundsCapacityUp(asked: Int, rounded: Int) {
        let fifo = Fifo<Int>(capacity: asked)
        let mask = fifo.mask
        #expect(mask == rounded - 1)
    }

    @Test("an empty fifo returns nil")
    func emptyGivesNothing() {
        var fifo = Fifo<String>()
        let first = fifo.popFirst()
        fifo.append("one")
        let (second, third) = (fifo.popFirst(), fifo.popFirst())
        #expect(first == nil)
        #expect(second == "one")
        #expect(third == nil)
    }

    @Test("the queue keeps no reference to an element that popFirst returned")
    func letsGoOfWhatItGivesOut() {
        let census = Census()
        var fifo = Fifo<Census.Resident>(capacity: 4)
        for number in 0..<40 { fifo.append(census.resident(number)) }
        #expect(census.alive == 40)
        for number in 0..<30 {
            let popped = fifo.popFirst()?.number
            #expect(popped == number)
        }
        #expect(census.alive == 10)
        for number in 0..<5 { fifo.append(census.resident(number)) }
        #expect(census.alive == 15)
    }

    @Test("the queue releases its remaining elements when it is destroyed", arguments: 0..<9)
    func letsGoOfTheRestAtItsEnd(offset: Int) {
        let census = Census()
        leaveBehind(census, offset)
        #expect(census.alive == 0)
    }

    /// Frees a wrapped queue of eight at the end of its scope.
    private func leaveBehind(_ census: Census, _ offset: Int) {
        var fifo = Fifo<Census.Resident>(capacity: 8)
        for _ in 0..<offset {
            fifo.append(census.resident())
            _ = fifo.popFirst()
        }
        for _ in 0..<8 { fifo.append(census.resident()) }
    }
}
