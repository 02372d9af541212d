using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>A machine of QEMU without a kernel, in a private folder, ended with the test: firmware, or a boot sector.</summary>
internal sealed class StubMachine : IAsyncDisposable
{
    private readonly ScratchFolder _folder = new();

    private StubMachine(string program, bool stopped, string[] extra, byte[]? bootSector, bool onSocket)
    {
        Endpoint = RspEndpoint.Parse("unix:" + _folder.File("gdb"));
        string[] disk = [];
        if (bootSector is not null)
        {
            File.WriteAllBytes(_folder.File("disk"), bootSector);
            disk = ["-drive", $"file={_folder.File("disk")},format=raw"];
        }

        Process = new PeerProcess(
            program,
            ["-machine", "q35", "-m", "64", "-display", "none", "-nodefaults", "-monitor", "none", "-serial", "none",
                .. stopped ? (string[])["-S"] : [], .. disk, .. extra,
                .. onSocket ? (string[])["-gdb", $"unix:{Endpoint.Path},server=on,wait=off"] : []]);
    }

    public RspEndpoint Endpoint { get; }

    public PeerProcess Process { get; }

    /// <param name="onSocket">Whether its stub listens at <see cref="Endpoint"/>; otherwise extra options say where.</param>
    public static async Task<StubMachine> StartAsync(
        string program = "qemu-system-x86_64", bool stopped = true, string[]? extra = null, byte[]? bootSector = null,
        bool onSocket = true)
    {
        var qemu = new StubMachine(program, stopped, extra ?? [], bootSector, onSocket);
        await qemu.Process.UntilAsync(() => !onSocket || PeerProcess.IsListening(qemu.Endpoint.Path!));
        return qemu;
    }

    /// <summary>Puts 16-bit code at 0000:7c00 and the CPU in front of it.</summary>
    public static async Task PrepareAsync(RspClient client, byte[] code)
    {
        await client.WriteMemoryAsync(0x7c00, code);
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        foreach (var (name, value) in new[] { ("cs", 0UL), ("ds", 0UL), ("rip", 0x7c00UL), ("eip", 0x7c00UL), ("rax", 0UL), ("eax", 0UL) })
        {
            if (client.Layout.TryFind(name, out var register))
            {
                block.SetValue(register, value);
                await client.WriteRegisterAsync(register, block);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Process.DisposeAsync();
        _folder.Dispose();
    }
}
