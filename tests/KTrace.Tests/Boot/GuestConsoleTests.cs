using System.Net.Sockets;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Qemu;

namespace KTrace.Tests.Boot;

public sealed class GuestConsoleTests
{
    [Fact]
    public async Task Lines_come_whole_however_the_bytes_are_split()
    {
        const string text = "[    0.1] grüße\r\nsecond line\nthird €\r\n";
        var bytes = Encoding.UTF8.GetBytes(text);
        for (var split = 0; split <= bytes.Length; split++)
        {
            var (guest, console) = await ConnectAsync();
            using (console)
            {
                await guest.SendAsync(bytes.AsMemory(0, split));
                await guest.SendAsync(bytes.AsMemory(split));
                guest.Dispose();
                await console.Completed;
                var pieces = await console.Output.ReadAllAsync().ToListAsync();
                Assert.Equal(["[    0.1] grüße", "second line", "third €"],
                    pieces.Where(piece => piece.EndsLine || piece.Text.Length > 0).Select(piece => piece.Text));
                Assert.Equal(bytes, pieces.SelectMany(piece => piece.Bytes.ToArray()));
                Assert.Equal("third €", console.LastLine);
            }
        }
    }

    [Fact]
    public async Task A_prompt_without_a_line_end_comes_as_a_piece_and_goes_on_later()
    {
        var (guest, console) = await ConnectAsync();
        using (console)
        {
            await guest.SendAsync("/ # "u8.ToArray());
            var prompt = await console.Output.ReadAsync();
            Assert.Equal(("/ # ", false), (prompt.Text, prompt.EndsLine));
            Assert.Equal("/ # ", console.LastLine);
            await guest.SendAsync("ls\r\n"u8.ToArray());
            var rest = await console.Output.ReadAsync();
            Assert.Equal(("ls", true), (rest.Text, rest.EndsLine));
            Assert.Equal("/ # ls", console.LastLine);
            guest.Dispose();
        }
    }

    [Fact]
    public async Task A_text_is_found_across_pieces_and_after_the_fact_and_its_absence_at_the_end()
    {
        var (guest, console) = await ConnectAsync();
        using (console)
        {
            var waiting = console.WaitForAsync("login: root");
            var absent = console.WaitForAsync("never said");
            await guest.SendAsync("debian login"u8.ToArray());
            await console.Output.ReadAsync();
            Assert.False(waiting.IsCompleted);
            await guest.SendAsync(": root\n"u8.ToArray());
            Assert.True(await waiting.WaitAsync(TimeSpan.FromMinutes(1)));
            Assert.True(await console.WaitForAsync("debian"));
            guest.Dispose();
            Assert.False(await absent);
            Assert.False(await console.WaitForAsync("anything"));
        }
    }

    [Fact]
    public async Task A_guest_that_is_never_read_is_not_held_up_and_memory_stays_bounded()
    {
        var (guest, console) = await ConnectAsync();
        using (console)
        {
            var line = Encoding.ASCII.GetBytes(new string('x', 98) + "\n");
            var block = Enumerable.Repeat(line, 1000).SelectMany(bytes => bytes).ToArray();
            for (var i = 0; i < 40; i++)
            {
                await guest.SendAsync(block);
            }

            guest.Dispose();
            await console.Completed;
            // A piece is a line, or the part of one that a read happened to end with.
            var kept = await console.Output.ReadAllAsync().ToListAsync();
            Assert.InRange(kept.Count, 1, 16384);
            Assert.Equal((40_000L * line.Length) - kept.Sum(piece => (long)piece.Bytes.Length), console.Forgotten);
            Assert.True(console.Tail.Length <= 128 << 10);
        }
    }

    [Fact]
    public async Task Endless_lines_and_bytes_that_are_no_text_come_in_pieces()
    {
        var (guest, console) = await ConnectAsync();
        using (console)
        {
            var bytes = Enumerable.Range(0, 20_000).Select(i => (byte)(i % 7 == 0 ? 0xff : 0x1b)).ToArray();
            await guest.SendAsync(bytes);
            guest.Dispose();
            var pieces = await console.Output.ReadAllAsync().ToListAsync();
            Assert.Equal(bytes, pieces.SelectMany(piece => piece.Bytes.ToArray()));
            Assert.All(pieces, piece => Assert.True(piece.Bytes.Length <= 4096));
            Assert.Contains('\ufffd', pieces[0].Text);
        }
    }

    [Fact]
    public async Task What_is_typed_reaches_the_guest_and_a_closed_console_says_so()
    {
        var (guest, console) = await ConnectAsync();
        using (console)
        {
            await console.WriteAsync("ls\n");
            var buffer = new byte[16];
            Assert.Equal(3, await guest.ReceiveAsync(buffer));
            guest.Dispose();
            await console.Completed;
            await Assert.ThrowsAsync<BootException>(async () =>
            {
                await console.WriteAsync("x");
                await console.WriteAsync("y");
            });
        }
    }

    private static async Task<(Socket Guest, GuestConsole Console)> ConnectAsync()
    {
        using var folder = new TemporaryFolder();
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(folder.File("s")));
        listener.Listen(1);
        var guest = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await guest.ConnectAsync(new UnixDomainSocketEndPoint(folder.File("s")));
        return (guest, new GuestConsole(await listener.AcceptAsync()));
    }
}
