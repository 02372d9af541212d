using KTrace.Boot;

namespace KTrace.Tests.Boot;

public sealed class ProgramsTests
{
    [Theory]
    [InlineData("E: Failed to fetch http://x/y.deb  Temporary failure resolving 'x'\nE: Unable to fetch some archives", true, false)]
    [InlineData("W: Failed to fetch http://x/InRelease  Could not connect to x:80 (1.2.3.4), connection timed out", true, false)]
    [InlineData("E: Failed to fetch http://x/y.deb  404  Not Found [IP: 1.2.3.4 80]", false, true)]
    [InlineData("E: Failed to fetch http://x/y.deb  Hash Sum mismatch", false, true)]
    [InlineData("E: Unable to locate package nosuch", false, false)]
    [InlineData("E: You don't have enough free space in /var/cache/apt/archives/.", false, false)]
    public void Apts_messages_are_told_apart(string errors, bool isNetwork, bool isOutdated)
    {
        Assert.Equal((isNetwork, isOutdated), (AptMessages.IsNetwork(errors), AptMessages.IsOutdated(errors)));
        Assert.Equal(isNetwork, AptMessages.ToException("x", new ToolResult(100, "", errors), null).IsNetwork);
    }

    [Fact]
    public void The_install_command_names_each_package_once()
    {
        var command = Programs.InstallCommand(Programs.All.Where(program => program.Package is "util-linux" or "busybox-static"));
        Assert.EndsWith("apt-get install -y --no-install-recommends util-linux busybox-static", command, StringComparison.Ordinal);
    }

    [Fact]
    public void Programs_of_this_system_are_found_and_others_are_not()
    {
        Assert.Empty(Programs.Missing());
        Assert.Null(new ExternalProgram("no-such-program-here", "x", ProgramUse.Boot, "x").Find());
    }

    [Fact]
    public async Task A_tool_that_writes_much_to_both_streams_ends_and_is_kept_in_bounds()
    {
        var result = await Tool.RunAsync("sh", ["-c", "yes out | head -c 300000; yes err | head -c 300000 >&2; exit 3"]);
        Assert.Equal((3, 300000), (result.ExitCode, result.Output.Length));
        Assert.InRange(result.Errors.Length, 1, 64 << 10);
    }

    [Fact]
    public async Task Cancelling_ends_a_tool()
    {
        using var cancel = new CancellationTokenSource();
        var run = Tool.RunAsync("sleep", ["1000"], diesWithParent: true, cancellationToken: cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run);
    }
}
