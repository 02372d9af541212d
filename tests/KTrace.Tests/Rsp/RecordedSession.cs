using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Rsp.Peers;

namespace KTrace.Tests.Rsp;

/// <summary>A session with real QEMU that uses every kind of request, recorded once: its transcript, and what the client had of it.</summary>
public sealed class RecordedSession : IAsyncLifetime
{
    /// <summary>The transcript of the whole session, as a client writes it.</summary>
    public string Transcript { get; private set; } = "";

    /// <summary>What the session came to.</summary>
    public string Outcome { get; private set; } = "";

    public async Task InitializeAsync()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using (var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options))
        {
            await StubMachine.PrepareAsync(client, Code);
        }

        var text = new StringWriter();
        Outcome = await RunAsync(RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options with { Transcript = new RspTranscript(text) }));
        Transcript = text.ToString();
    }

    public Task DisposeAsync() => Task.CompletedTask;

    /// <summary>Counts in ax and in the byte at 0x7000, for ever.</summary>
    internal static byte[] Code { get; } = [0x40, 0xfe, 0x06, 0x00, 0x70, 0xeb, 0xf9];

    /// <summary>The session, with <see cref="Code"/> at 0x7c00.</summary>
    internal static async Task<string> RunAsync(ValueTask<RspClient> connecting)
    {
        await using var client = await connecting;
        var said = new StringBuilder();
        var block = new RegisterBlock(client.Layout);
        var pc = client.Layout.Select("rip", "rax");
        var values = new ulong[2];
        var memory = new byte[6000];
        await client.WriteMemoryAsync(0x9000, new byte[] { 1, 2, 3, 0x7d, 0x23 });
        said.AppendLine((await client.ReadMemoryAsync(0x7c00, memory)).ToString()).AppendLine(Convert.ToHexString(memory.AsSpan(0, 16)));
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x7c00));
        var outcomes = new RspOutcome[3];
        for (var hit = 0; hit < 3; hit++)
        {
            await client.ContinueAsync();
            said.AppendLine((await client.WaitForStopAsync()).ToString());
            await client.SendBatchAsync(new RspCommand[] { new ReadRegisters(block), new ReadMemory(0x7000, memory.AsMemory(0, 64)), client.StepCommand() }, outcomes);
            pc.Read(block, values);
            said.AppendLine($"{values[0]:x} {values[1]:x} {memory[0]} {string.Join(' ', outcomes)}").AppendLine((await client.WaitForStopAsync()).ToString());
        }

        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, 0x7c00));
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.WriteWatchpoint, 0x7000));
        await client.ContinueAsync();
        said.AppendLine((await client.WaitForStopAsync()).ToString());
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.WriteWatchpoint, 0x7000));
        said.AppendLine(string.Join(' ', await client.DescribeThreadsAsync()));
        said.AppendLine((await client.MonitorAsync("info status")).Output);
        await client.ContinueAsync();
        await client.InterruptAsync();
        said.AppendLine((await client.WaitForStopAsync()).ToString());
        await client.DetachAsync();
        return said.ToString();
    }
}
