using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>What every stub of a user process is made to do; each step asserts with what the program itself says (its memory, its exit code).</summary>
internal static class PeerStory
{
    public static RspClientOptions Options { get; } = new() { RequestTimeout = TimeSpan.FromSeconds(60), InterruptTimeout = TimeSpan.FromSeconds(30) };

    public static async Task<ulong> ReadAsync(RspClient client, string register)
    {
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        Assert.True(client.Layout.TryFind(register, out var found));
        Assert.True(block.TryGetValue(found, out var value));
        return value;
    }

    public static async Task WriteAsync(RspClient client, string register, ulong value)
    {
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        Assert.True(client.Layout.TryFind(register, out var found));
        block.SetValue(found, value);
        await client.WriteRegisterAsync(found, block);
    }

    /// <summary>The next stop; one that never comes fails the test.</summary>
    public static async Task<StopReply> StopAsync(RspClient client)
    {
        using var guard = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        return await client.WaitForStopAsync(guard.Token);
    }

    public static async Task<StopReply.Stopped> ContinueAsync(RspClient client)
    {
        await client.ContinueAsync();
        return Assert.IsType<StopReply.Stopped>(await StopAsync(client));
    }

    public static async Task<long> CounterAsync(RspClient client, StubProgram program)
    {
        var bytes = new byte[8];
        Assert.True((await client.ReadMemoryAsync(program.Counter, bytes)).IsComplete);
        return BitConverter.ToInt64(bytes);
    }

    /// <summary>Registers and memory are read, written and read back; and an address without memory is unreadable.</summary>
    public static async Task ReadAndWriteAsync(RspClient client, StubProgram program)
    {
        var before = await ReadAsync(client, "rbx");
        await WriteAsync(client, "rbx", 0x1122334455667788);
        Assert.Equal(0x1122334455667788UL, await ReadAsync(client, "rbx"));
        await WriteAsync(client, "rbx", before);

        await client.WriteMemoryAsync(program.Counter, BitConverter.GetBytes(0x7d2a242300000000L));
        Assert.Equal(0x7d2a242300000000L, await CounterAsync(client, program));
        await client.WriteMemoryAsync(program.Counter, new byte[8]);

        var read = await client.ReadMemoryAsync(0, new byte[16]);
        Assert.Equal(0, read.ReadableFromStart);
    }

    /// <summary>A breakpoint at the function that is called with 1 to 5, stepped off and met again, the program's own counter as the witness.</summary>
    /// <returns>The first stop.</returns>
    public static async Task<StopReply.Stopped> BreakAndStepAsync(RspClient client, StubProgram program, BreakpointKind kind = BreakpointKind.Software)
    {
        await client.SendAsync(new InsertBreakpoint(kind, program.Touch));
        var first = await ContinueAsync(client);
        Assert.Equal(5, first.Signal);
        Assert.Equal(program.Touch, await ReadAsync(client, "rip"));
        Assert.Equal(1UL, await ReadAsync(client, "rdi"));
        Assert.Equal(1000, await CounterAsync(client, program));

        if (!client.Profile.StepsPastBreakpoints)
        {
            // As the profile says: the step only meets the breakpoint again.
            await client.StepAsync();
            await StopAsync(client);
            Assert.Equal(program.Touch, await ReadAsync(client, "rip"));
            await client.SendAsync(new RemoveBreakpoint(kind, program.Touch));
        }

        // add %rdi,counter(%rip) has seven bytes or is a load before an add: one instruction further in any case.
        await client.StepAsync();
        Assert.Equal(5, Assert.IsType<StopReply.Stopped>(await StopAsync(client)).Signal);
        Assert.InRange(await ReadAsync(client, "rip"), program.Touch + 1, program.Touch + 15);

        if (!client.Profile.StepsPastBreakpoints)
        {
            await client.SendAsync(new InsertBreakpoint(kind, program.Touch));
        }

        await ContinueAsync(client);
        Assert.Equal(2UL, await ReadAsync(client, "rdi"));
        Assert.Equal(1001, await CounterAsync(client, program));
        await client.SendAsync(new RemoveBreakpoint(kind, program.Touch));
        return first;
    }

    /// <summary>To the end, with nothing in the way.</summary>
    public static async Task ExitAsync(RspClient client)
    {
        await client.ContinueAsync();
        Assert.Equal(7, Assert.IsType<StopReply.Exited>(await StopAsync(client)).Code);
        Assert.Equal(RspState.Exited, client.State);
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ContinueAsync().AsTask())).Kind);
    }
}
