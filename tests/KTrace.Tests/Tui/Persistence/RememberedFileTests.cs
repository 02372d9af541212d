using System.Collections.Immutable;
using KTrace.Tests.Support;
using KTrace.Tui.Persistence;
using KTrace.Tui.State;

namespace KTrace.Tests.Tui.Persistence;

/// <summary>What is kept between sessions.</summary>
public sealed class RememberedFileTests : IDisposable
{
    private static readonly Remembered s_some = new(
        ["break start_kernel if cpu == 0", "watch jiffies_64"], ["current->comm"], 3, ImmutableDictionary<string, double>.Empty.Add("live:main", 0.4), ["bt", "p \"\u001b[31m\""])
    {
        Disabled = ["watch jiffies_64"],
    };

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_is_kept_comes_back_and_only_its_owner_can_read_it()
    {
        var file = new RememberedFile("scenario:../../e1000e msix", _folder.File("state"));
        Assert.Equal(Remembered.Nothing, file.Load(out var note));
        Assert.Null(note);
        Assert.Null(file.Save(s_some));
        var back = file.Load(out note);
        Assert.Null(note);
        Assert.Equal(
            (string.Join('|', s_some.Breakpoints), string.Join('|', s_some.Watches), 3, 0.4, string.Join('|', s_some.History)),
            (string.Join('|', back.Breakpoints), string.Join('|', back.Watches), back.Layout, back.Splits["live:main"], string.Join('|', back.History)));
        Assert.Equal("watch jiffies_64", Assert.Single(back.Disabled));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file.Path));
        Assert.Equal(_folder.File("state"), Path.GetDirectoryName(file.Path));
        Assert.Single(Directory.GetFiles(_folder.File("state")));
        Assert.NotEqual(file.Path, new RememberedFile("scenario:../../e1000e_msix", _folder.File("state")).Path);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"breakpoints\":")]
    [InlineData("{\"history\":[\"\\ud800\"]}")]
    public void A_damaged_file_is_told_and_nothing_is_taken_from_it(string text)
    {
        var file = new RememberedFile("x", _folder.Path);
        File.WriteAllText(file.Path, text);
        Assert.Equal(Remembered.Nothing, file.Load(out var note));
        Assert.Contains("damaged", note, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_not_as_it_should_be_is_left_out()
    {
        var file = new RememberedFile("x", _folder.Path);
        File.WriteAllText(file.Path, $$"""
            {"breakpoints":[1,"break a",null,"{{new string('a', 5000)}}"],"layout":-4,"splits":{"a":7,"b":"x","c":0.5},"history":{{System.Text.Json.JsonSerializer.Serialize(Enumerable.Range(0, 3000).Select(i => $"p {i}"))}},"evil":{"x":[] } }
            """);
        var back = file.Load(out var note);
        Assert.Null(note);
        Assert.Equal("break a", Assert.Single(back.Breakpoints));
        Assert.Equal((1, "c"), (back.Layout, Assert.Single(back.Splits).Key));
        Assert.Equal((1000, "p 2999"), (back.History.Length, back.History[^1]));

        File.WriteAllText(file.Path, new string(' ', 2 << 20));
        Assert.Equal(Remembered.Nothing, file.Load(out note));
        Assert.Contains("too long", note, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_an_earlier_version_has_nothing_that_was_switched_off()
    {
        var file = new RememberedFile("x", _folder.Path);
        File.WriteAllText(file.Path, """{"breakpoints":["break a","break b"],"watches":[],"layout":2,"splits":{},"history":[]}""");
        var back = file.Load(out var note);
        Assert.Null(note);
        Assert.Equal((2, 2, 0), (back.Breakpoints.Length, back.Layout, back.Disabled.Length));
    }

    [Fact]
    public void A_place_that_cannot_be_written_is_a_note_and_no_failure()
    {
        File.WriteAllText(_folder.File("file"), "");
        Assert.Contains("not kept", new RememberedFile("x", _folder.File("file/below")).Save(s_some), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_sessions_that_save_at_once_one_wins_and_none_is_torn()
    {
        var file = new RememberedFile("x", _folder.Path);
        Parallel.For(0, 8, i =>
        {
            for (var round = 0; round < 20; round++)
            {
                Assert.Null(new RememberedFile("x", _folder.Path).Save(s_some with { History = [.. Enumerable.Repeat($"session {i}", 200)] }));
                Assert.Single(file.Load(out var note).History.Distinct());
                Assert.Null(note);
            }
        });
        Assert.Single(Directory.GetFiles(_folder.Path));
    }
}
