using KTrace.Debugger;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

/// <summary>A stub that fails while the kernel is being looked for.</summary>
public sealed class KernelTargetTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    [Fact]
    public async Task A_stub_that_closes_in_the_middle_of_a_packet_is_said_to()
    {
        await using var stub = Stub().OnRaw("vCont;c", "$T05thread:p0"u8.ToArray(), close: true);

        var e = await Assert.ThrowsAsync<RspException>(() => BootAsync(stub));

        Assert.Equal(RspErrorKind.Disconnected, e.Kind);
        Assert.Contains("closed the connection", e.Message);
    }

    [Fact]
    public async Task A_machine_that_ends_before_its_kernel_came_up_is_said_to()
    {
        await using var stub = Stub().On("vCont;c", "W00");
        Assert.Contains("ended before its kernel came up", (await Assert.ThrowsAsync<TargetException>(() => BootAsync(stub))).Message);
    }

    [Fact]
    public async Task A_guest_without_any_kernel_in_it_is_not_this_kernel()
    {
        await using var stub = Stub().On("vCont;c", "T05thread:p01.01;");
        var e = await Assert.ThrowsAsync<TargetException>(() => BootAsync(stub));
        Assert.Contains("is not the kernel that the guest runs (whose build id was not found)", e.Message);
        Assert.Contains(Convert.ToHexStringLower(Image.Value.BuildId.AsSpan()), e.Message);
    }

    [Fact]
    public async Task Cancelling_while_the_guest_runs_leaves_at_once()
    {
        await using var stub = Stub().Silent("vCont;c");
        using var cancel = new CancellationTokenSource();
        var boot = KernelTarget.BootAsync(stub.Endpoint, Image.Value, new RspClientOptions(), null, cancel.Token);
        while (!stub.Requests.Contains("vCont;c"))
        {
            await Task.Delay(1);
        }

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => boot);
    }

    private static FakeStub Stub()
    {
        var stub = FakeStub.Qemu();
        stub.Otherwise = request => [request[0] switch { 'm' => "E14", 'Z' or 'z' => "OK", 'g' => "00000000", _ => "" }];
        return stub;
    }

    private static Task<KernelTarget> BootAsync(FakeStub stub) =>
        KernelTarget.BootAsync(stub.Endpoint, Image.Value, new RspClientOptions(), null, CancellationToken.None);
}
