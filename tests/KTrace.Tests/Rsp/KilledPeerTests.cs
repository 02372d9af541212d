using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Rsp.Peers;

namespace KTrace.Tests.Rsp;

/// <summary>Real QEMU killed, and stopped so that it is silent, in every state of the client; and two clients at once.</summary>
public sealed class KilledPeerTests
{
    private static readonly RspClientOptions s_hasty = new() { RequestTimeout = TimeSpan.FromSeconds(2), MonitorTimeout = TimeSpan.FromSeconds(2), InterruptTimeout = TimeSpan.FromSeconds(1) };

    private static readonly byte[] s_spin = [0xeb, 0xfe];

    public static TheoryData<string> States => new() { "handshake", "stopped", "batch under way", "monitor command", "running", "waiting", "interrupting", "resumed at the end of a batch" };

    [SkippableTheory]
    [MemberData(nameof(States))]
    public async Task QEMU_that_is_killed_is_disconnected_in_every_state(string state)
    {
        await using var qemu = await StubMachine.StartAsync();
        var task = await BeginAsync(qemu, state, PeerStory.Options);
        qemu.Process.Kill();
        await qemu.Process.ExitCodeAsync();
        await AssertBrokenAsync(task, RspErrorKind.Disconnected);
    }

    [SkippableTheory]
    [MemberData(nameof(States))]
    public async Task QEMU_that_is_silent_is_a_timeout_in_every_state_that_has_a_limit(string state)
    {
        await using var qemu = await StubMachine.StartAsync();
        qemu.Process.Signal("CONT");
        var task = await BeginAsync(qemu, state, s_hasty);
        if (state is "running" or "waiting" or "resumed at the end of a batch")
        {
            // Running has no limit: it is over when the caller says so, and the connection is as good as before.
            var (client, waiting) = await task();
            await Task.Delay(s_hasty.RequestTimeout * 1.5);
            Assert.False(waiting.IsCompleted);
            qemu.Process.Signal("CONT");
            await using (client)
            {
                Assert.True(await client!.InterruptAsync());
                await waiting.WaitAsync(TimeSpan.FromMinutes(1));
                Assert.Equal(RspState.Stopped, client.State);
            }

            return;
        }

        await AssertBrokenAsync(task, RspErrorKind.Timeout);
        qemu.Process.Signal("CONT");
    }

    [SkippableFact]
    public async Task A_second_client_is_told_that_nobody_answers_and_comes_in_when_the_first_has_gone()
    {
        await using var qemu = await StubMachine.StartAsync();
        var first = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        var e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(qemu.Endpoint, s_hasty).AsTask());
        Assert.Equal(RspErrorKind.Timeout, e.Kind);
        Assert.Contains("as by a stub that another client is connected to", e.Message, StringComparison.Ordinal);

        // The first has noticed nothing; and one that is patient waits for its end.
        Assert.Single(await first.ListThreadsAsync());
        var patient = RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options).AsTask();
        await first.StepAsync();
        Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(first));
        Assert.False(patient.IsCompleted);
        await first.DisposeAsync();
        await using var second = await patient.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Single(await second.ListThreadsAsync());
    }

    /// <summary>
    /// Brings a client into a state. What is given back, called after the deed, says what the client was doing: a task that must end.
    /// </summary>
    private static async Task<Func<Task<(RspClient? Client, Task Task)>>> BeginAsync(StubMachine qemu, string state, RspClientOptions options)
    {
        if (state == "handshake")
        {
            // Stopped as a whole, it accepts (the kernel does) and does not answer.
            qemu.Process.Signal("STOP");
            var connecting = RspClient.ConnectAsync(qemu.Endpoint, options).AsTask();
            return () => Task.FromResult<(RspClient?, Task)>((null, connecting));
        }

        var client = await RspClient.ConnectAsync(qemu.Endpoint, options);
        await StubMachine.PrepareAsync(client, s_spin);
        Func<Task> afterwards = () => Task.CompletedTask;
        var during = Task.CompletedTask;
        switch (state)
        {
            case "stopped":
                qemu.Process.Signal("STOP");
                afterwards = () => client.ReadMemoryAsync(0x7c00, new byte[16]).AsTask();
                break;
            case "batch under way":
                qemu.Process.Signal("STOP");
                during = Task.Run(() => client.ReadMemoryAsync(0, new byte[1 << 20]).AsTask());
                break;
            case "monitor command":
                qemu.Process.Signal("STOP");
                during = Task.Run(() => client.MonitorAsync("info registers").AsTask());
                break;
            case "running":
                await client.ContinueAsync();
                qemu.Process.Signal("STOP");
                afterwards = () => client.WaitForStopAsync().AsTask();
                break;
            case "waiting":
                await client.ContinueAsync();
                during = Task.Run(() => client.WaitForStopAsync().AsTask());
                qemu.Process.Signal("STOP");
                break;
            case "interrupting":
                await client.ContinueAsync();
                qemu.Process.Signal("STOP");
                await client.InterruptAsync();
                during = Task.Run(() => client.WaitForStopAsync().AsTask());
                break;
            default:
                await client.SendBatchAsync(new RspCommand[] { new ReadMemory(0, new byte[2048]), client.ContinueCommand }, new RspOutcome[2]);
                during = Task.Run(() => client.WaitForStopAsync().AsTask());
                qemu.Process.Signal("STOP");
                break;
        }

        return () => Task.FromResult<(RspClient?, Task)>((client, during == Task.CompletedTask ? afterwards() : during));
    }

    private static async Task AssertBrokenAsync(Func<Task<(RspClient? Client, Task Task)>> state, RspErrorKind kind)
    {
        var (client, task) = await state();
        var e = await Assert.ThrowsAsync<RspException>(() => task.WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.Equal(kind, e.Kind);
        Assert.True(task.IsCompleted);
        if (client is not null)
        {
            // Broken from here on, with that reason; disposing waits for nothing.
            Assert.Equal(RspState.Broken, client.State);
            Assert.Same(e, (await Assert.ThrowsAsync<RspException>(() => client.StepAsync().AsTask())).InnerException);
            Assert.False(await client.InterruptAsync());
            await client.DisposeAsync();
        }
    }
}
