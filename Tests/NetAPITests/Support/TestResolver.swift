/// A resolver that answers as the test wants, and keeps count.
import MillraceTestSupport
import NetAPI

final class TestResolver: Resolver {
    typealias Outcome = Result<[String], any Error>

    enum Manner: Sendable {
        /// Inside the call.
        case atOnce
        /// On a thread of its own.
        case later
        /// When the test calls `give`.
        case onDemand
    }

    private struct Question: Sendable {
        let query: HostQuery
        let answer: @Sendable (Outcome) -> Void
    }

    private let manner: Manner
    private let outcome: Outcome
    private let questions = Shared<[Question]>([])

    init(_ manner: Manner, _ outcome: Outcome) {
        self.manner = manner
        self.outcome = outcome
    }

    convenience init(_ manner: Manner, _ hosts: [String]) { self.init(manner, .success(hosts)) }

    convenience init(_ hosts: [String]) { self.init(.later, hosts) }

    /// A resolver that never answers by itself.
    static func silent(_ hosts: [String] = []) -> TestResolver { TestResolver(.onDemand, hosts) }

    var queries: [HostQuery] { questions.value.map(\.query) }

    func resolve(_ query: HostQuery, answer: @escaping @Sendable (Outcome) -> Void) {
        questions.update { $0.append(Question(query: query, answer: answer)) }
        switch manner {
        case .atOnce: answer(outcome)
        case .later: startThread { [outcome] in answer(outcome) }
        case .onDemand: break
        }
    }

    /// Answers every question, also one that has its answer.
    func give(_ other: Outcome? = nil) {
        for question in questions.value { question.answer(other ?? outcome) }
    }

    /// Drops every question without an answer.
    func drop() { questions.value = [] }
}
