/// Counts live objects, to test that containers free their elements.
final class Census {
    fileprivate(set) var alive = 0

    final class Resident {
        private let census: Census
        let number: Int

        fileprivate init(_ census: Census, _ number: Int) {
            self.census = census
            self.number = number
            census.alive += 1
        }

        deinit { census.alive -= 1 }
    }

    func resident(_ number: Int = 0) -> Resident { Resident(self, number) }
}
