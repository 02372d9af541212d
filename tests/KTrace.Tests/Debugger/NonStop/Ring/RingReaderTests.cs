using System.Buffers.Binary;
using KTrace.Debugger;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Tests.Debugger.NonStop.Ring;

/// <summary>The host's end of the ring, with a guest that the test plays.</summary>
public sealed class RingReaderTests : IDisposable
{
    private readonly PlayedRing _guest = new(64 << 10);
    private readonly RingReader _reader;
    private readonly List<(ulong Site, int Size)> _read = [];

    public RingReaderTests() => _reader = new RingReader(_guest.Control, _guest.Ring);

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void An_empty_ring_has_nothing()
    {
        Assert.Equal(0, Read());
        Assert.Equal(0, _reader.Fill);
    }

    [Fact]
    public void Records_come_in_the_order_of_their_reservation_and_their_room_is_free_again()
    {
        for (var i = 1UL; i <= 5; i++)
        {
            _guest.Write(i, stack: 128);
        }

        Assert.Equal(5, Read());
        Assert.Equal([1, 2, 3, 4, 5], _read.Select(r => r.Site));
        Assert.Equal(0, _reader.Fill);
        Assert.Equal(_guest.Head, _guest.Control.LoadUInt64(ControlBlock.Tail));
        Assert.False(_guest.Ring.Bytes.ContainsAnyExcept((byte)0), "what was read is cleared");
    }

    [Fact]
    public void A_record_that_is_not_complete_holds_back_those_behind_it()
    {
        _guest.Write(1);
        var unfinished = _guest.Reserve(RecordFormat.CallHeader);
        _guest.Write(3);

        Assert.Equal(1, Read());
        Assert.Equal(0, Read());
        _guest.Fill(unfinished, 2, RecordFormat.CallHeader);
        Assert.Equal(2, Read());
        Assert.Equal([1, 2, 3], _read.Select(r => r.Site));
    }

    [Fact]
    public void Records_go_on_behind_the_end_of_the_ring_at_its_beginning()
    {
        for (var i = 1UL; i <= 1000; i++)
        {
            _guest.Write(i, stack: (int)(i % 9) * 512);
            Assert.Equal(1, Read());
        }

        Assert.Equal(Enumerable.Range(1, 1000).Select(i => (ulong)i), _read.Select(r => r.Site));
    }

    [Fact]
    public void No_more_than_asked_for_are_read_at_once()
    {
        _guest.Write(1);
        _guest.Write(2);
        Assert.Equal(1, _reader.Read(1, record => _read.Add((record.Site, record.Size))));
        Assert.Equal(1, Read());
    }

    [Fact]
    public void A_taker_that_fails_has_lost_its_record_only()
    {
        _guest.Write(1);
        _guest.Write(2);
        Assert.Throws<InvalidOperationException>(() => _reader.Read(10, _ => throw new InvalidOperationException()));
        Assert.Equal(1, Read());
        Assert.Equal(2UL, Assert.Single(_read).Site);
    }

    [Theory]
    [InlineData(1, "its head is")]
    [InlineData(64 * 1025, "its head is")]
    [InlineData(-64, "its head is")]
    public void A_head_that_cannot_be_is_said(long head, string message)
    {
        _guest.Control.StoreUInt64(ControlBlock.Head, (ulong)head);
        Assert.Contains(message, Assert.Throws<TargetException>(() => Read()).Message);
    }

    [Theory]
    [InlineData(0x4b54_0001_0000_0001UL)]
    [InlineData(0x4b54_0001_7fff_ffc0UL)]
    [InlineData(0x4b55_0001_0000_0100UL)]
    [InlineData(ulong.MaxValue)]
    public void A_commit_word_that_cannot_be_is_said(ulong commit)
    {
        var at = _guest.Reserve(512);
        _guest.Ring.StoreUInt64(at, commit);
        Assert.Contains("has written over the ring", Assert.Throws<TargetException>(() => Read()).Message);
    }

    [Fact]
    public void A_record_that_claims_more_than_was_reserved_is_said()
    {
        var at = _guest.Reserve(256);
        _guest.Ring.StoreUInt64(at, PlayedRing.Commit(512, RingRecordKind.Call));
        Assert.Throws<TargetException>(() => Read());
    }

    [Theory]
    [InlineData(RecordFormat.WindowCount, 4U)]
    [InlineData(RecordFormat.WindowLengths, 8192U)]
    [InlineData(RecordFormat.ReturnIndex, 20000U)]
    public void Windows_and_indexes_that_do_not_fit_are_said(int offset, uint value)
    {
        var at = _guest.Reserve(512);
        BinaryPrimitives.WriteUInt32LittleEndian(_guest.Ring.Bytes[(at + RecordFormat.WindowCount)..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(_guest.Ring.Bytes[(at + offset)..], value);
        _guest.Ring.StoreUInt64(at, PlayedRing.Commit(512, RingRecordKind.Call));
        Assert.Throws<TargetException>(() => Read());
    }

    [Fact]
    public void Whatever_the_guest_writes_reading_ends_with_records_or_an_error()
    {
        var random = new Random(20261121);
        for (var round = 0; round < 2000; round++)
        {
            using var guest = new PlayedRing(64 << 10);
            var reader = new RingReader(guest.Control, guest.Ring);
            for (var i = 0; i < 20; i++)
            {
                guest.Write((ulong)i, stack: random.Next(0, 40) * 8);
            }

            for (var i = 0; i < random.Next(1, 6); i++)
            {
                guest.Ring.Bytes[random.Next(0, (int)guest.Head)] = (byte)random.Next(256);
            }

            try
            {
                Assert.InRange(reader.Read(1000, _ => { }), 0, 20);
            }
            catch (TargetException)
            {
            }
        }
    }

    private int Read() => _reader.Read(1000, record => _read.Add((record.Site, record.Size)));
}
