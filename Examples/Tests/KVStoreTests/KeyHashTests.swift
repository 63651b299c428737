/// The hash of keys against values of other implementations.
import Testing

@testable import KVStore

@Suite struct KeyHashTests {
    /// The value in appendix A of the paper that describes SipHash: 2-4, bytes 0 to 14 under key 0
    /// to 15.
    @Test("the hash with two and four rounds equals the published SipHash-2-4 value")
    func itIsSipHash() {
        let hash = KeyHash(0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908)
        let bytes = (0..<15).map { UInt8($0) }
        #expect(
            bytes.withUnsafeBytes { hash.hash($0, rounds: 2, lastRounds: 4) }
                == 0xA129_CA61_49BE_45E5)
    }

    /// The values that Python 3.11 returns for `hash(b"…")` with PYTHONHASHSEED=0: 1-3 under a key
    /// of zeros.
    @Test(
        "the hash with one and three rounds equals the values of Python",
        arguments: [
            ("a", 4_644_417_185_603_328_019), ("abcdefg", 7_904_145_750_247_929_094),
            ("abcdefgh", 4_574_395_652_268_504_554),
            ("key:000000000042", 3_716_437_824_201_056_520),
            ("a somewhat longer key, of 40 bytes......", -2_758_551_566_944_449_227),
        ])
    func oneAndThreeRounds(_ text: String, _ expected: Int) {
        let hash = KeyHash(0, 0)
        #expect(Array(text.utf8).withUnsafeBytes { Int(bitPattern: hash($0)) } == expected)
    }

    @Test("each new hash has its own random key")
    func eachStoreHasAKeyOfItsOwn() {
        let key = Array("key".utf8)
        let hashes = (0..<8).map { _ in key.withUnsafeBytes { KeyHash()($0) } }
        #expect(Set(hashes).count == 8)
    }
}
