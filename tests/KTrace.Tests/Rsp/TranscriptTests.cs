using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Rsp.Peers;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>Transcripts of real sessions: written, replayed, cut short and failing.</summary>
public sealed class TranscriptTests(RecordedSession recorded) : IClassFixture<RecordedSession>
{
    [Fact]
    public async Task A_session_with_real_QEMU_replayed_as_a_stub_gives_the_same_session_and_transcript()
    {
        Assert.Contains("\n> qqemu.sstepbits\n< ENABLE=1,NOIRQ=2,NOTIMER=4\n", recorded.Transcript, StringComparison.Ordinal);
        Assert.Contains("\n! interrupt\n< T02thread:p01.01;\n", recorded.Transcript, StringComparison.Ordinal);
        Assert.EndsWith("# ended: the client closed the connection\n", recorded.Transcript, StringComparison.Ordinal);

        await using (var stub = ReplayStub.Start(recorded.Transcript))
        {
            var again = new StringWriter();
            Assert.Equal(recorded.Outcome, await RecordedSession.RunAsync(RspClient.ConnectAsync(stub.Endpoint, PeerStory.Options with { Transcript = new RspTranscript(again) })));
            Assert.Equal(recorded.Transcript, again.ToString());
        }

        var stream = new ReplayStream(recorded.Transcript);
        Assert.Equal(recorded.Outcome, await RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options)));
        Assert.True(stream.IsAtEnd);
    }

    [Fact]
    public async Task A_file_has_every_packet_and_why_the_connection_ended_before_it_is_closed()
    {
        using var folder = new ScratchFolder();
        using var transcript = RspTranscript.Create(folder.File("wire"));
        var stream = new ReplayStream(recorded.Transcript) { CloseAfter = 2000 };
        var e = await Assert.ThrowsAsync<RspException>(() => RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options with { Transcript = transcript })));
        var lines = File.ReadAllLines(folder.File("wire"));
        Assert.Equal("# ktrace rsp transcript 1", lines[0]);
        Assert.Equal("# ended: " + e.Message, lines[^1]);
        Assert.Equal(recorded.Transcript.Split('\n')[..(lines.Length - 1)], lines[..^1]);
        Assert.Null(transcript.Failure);
    }

    [Fact]
    public async Task A_transcript_that_cannot_be_written_ends_and_the_session_does_not()
    {
        using var full = new RspTranscript(new StreamWriter(new FullDisk(3000)));
        using var cut = new RspTranscript(new StringWriter(), maxCharacters: 1000);
        foreach (var transcript in new[] { full, cut })
        {
            var stream = new ReplayStream(recorded.Transcript);
            Assert.Equal(recorded.Outcome, await RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options with { Transcript = transcript })));
        }

        Assert.Equal("the transcript could not be written: no space left", full.Failure);
        Assert.Equal("the transcript was cut after 1000 characters", cut.Failure);
    }

    [Fact]
    public void A_transcript_that_was_cut_reads_back_as_far_as_it_goes()
    {
        var text = new StringWriter();
        var transcript = new RspTranscript(text, maxCharacters: 60);
        for (var i = 0; i < 100; i++)
        {
            transcript.Request(Encoding.ASCII.GetBytes($"m{i},1"));
        }

        transcript.Flush();
        Assert.InRange(text.ToString().Length, 60, 150);
        var entries = RspTranscript.Read(new StringReader(text.ToString())).ToArray();
        Assert.InRange(entries.Length, 3, 10);
        Assert.All(entries, entry => Assert.Equal(TranscriptEntryKind.Request, entry.Kind));
    }

    /// <summary>Takes some bytes and then no more.</summary>
    private sealed class FullDisk(int room) : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count)
        {
            if (Length + count > room)
            {
                throw new IOException("no space left");
            }

            base.Write(buffer, offset, count);
        }
    }
}
