/// A program's view of the library beside Foundation and a package with similar names: every public
/// type is named here without its module, so an ambiguous name is an error of this build.
import EventLoop
import Foundation
import NetAPI

public enum Consumer {
    public typealias Handlers = (
        any EventHandler, any DatagramHandler, any LoopHandler, PerConnection<Int>
    )
    public typealias Ends = (
        Server, Client, Connection, ConnectionHandle, Datagram, DatagramSocket, Loop, LoopHandle
    )
    public typealias Tasks = (AsyncConnection, AsyncConnection.Items<String>)
    public typealias Choices = (
        Address, Backend, ByteOrder, Loops, Options, Options.Balancer, Options.Limits, Options.TCP,
        Options.Names, Options.Timeouts, Options.UDP, Options.Unix, Options.Workers, Signal,
        SocketOption
    )
    public typealias Names = (any Resolver, SystemResolver, HostQuery, HostQuery.Family)
    public typealias Answers = (
        Action, CloseReason, NetError, NetError.Code, NetError.Step, ScheduledTimer, ServiceManager,
        ServiceManager.Message, ServiceManager.PassedDescriptor, Statistics, StopReason, Tick
    )
    public typealias Others = (EventLoopOfAnotherPackage, Foundation.Timer, Data)

    /// A pair of spans cannot be part of a tuple.
    public static func count(_ pair: borrowing ReadPair) -> Int { pair.head.byteCount }
}
