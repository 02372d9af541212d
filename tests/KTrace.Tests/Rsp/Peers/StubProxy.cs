using System.Net.Sockets;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>Stands between the client and a real stub, one connection after the other, and does to the bytes what a test wants. Null closes both sides.</summary>
internal sealed class StubProxy : IAsyncDisposable
{
    private readonly ScratchFolder _folder = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly RspEndpoint _stub;
    private readonly Task _serving;
    private Socket? _client;
    private Socket? _connected;

    public StubProxy(RspEndpoint stub)
    {
        _stub = stub;
        Endpoint = RspEndpoint.Parse("unix:" + _folder.File("proxy"));
        _listener.Bind(new UnixDomainSocketEndPoint(Endpoint.Path!));
        _listener.Listen(1);
        _serving = Task.Run(ServeAsync);
    }

    public RspEndpoint Endpoint { get; }

    public Func<byte[], byte[]?> FromStub { get; set; } = bytes => bytes;

    public Func<byte[], byte[]?> FromClient { get; set; } = bytes => bytes;

    /// <summary>Closes the connection that is there.</summary>
    public void Close()
    {
        _client?.Dispose();
        _connected?.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        Close();
        await _serving.WaitAsync(TimeSpan.FromMinutes(1));
        _folder.Dispose();
    }

    private static async Task PumpAsync(Socket from, Socket to, Func<byte[], byte[]?> change)
    {
        var buffer = new byte[8192];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and var count && change(buffer[..count]) is { } bytes)
            {
                await to.SendAsync(bytes);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // One side closed; the other is closed below.
        }

        from.Dispose();
        to.Dispose();
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                var client = _client = await _listener.AcceptAsync();
                var stub = _connected = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await stub.ConnectAsync(new UnixDomainSocketEndPoint(_stub.Path!));
                await Task.WhenAll(PumpAsync(client, stub, bytes => FromClient(bytes)), PumpAsync(stub, client, bytes => FromStub(bytes)));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }
}
